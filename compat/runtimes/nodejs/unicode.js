function main({ name }) {
  const greeting = `Grüße, 世界 and ${name}!`;
  console.log(greeting);
  return { greeting };
}
