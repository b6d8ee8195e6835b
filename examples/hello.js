function main({ name = 'world' }) {
  console.log(`greeting ${name}`);
  return { greeting: `Hello, ${name}!` };
}
