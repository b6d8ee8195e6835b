// Readings of some days, made up from the city's name.
function main({ city, days, unit }) {
  console.log(`reading ${city}`);
  return { city, unit, readings: Array.from({ length: days }, (_, day) => city.length + day) };
}
