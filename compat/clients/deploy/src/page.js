function main({ name }) {
  return { body: `<p>Good morning, ${name || 'stranger'}</p>` };
}
