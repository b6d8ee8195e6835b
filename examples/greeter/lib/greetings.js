exports.greetings = {
  en: name => `Hello, ${name}!`,
  de: name => `Guten Tag, ${name}!`,
  fr: name => `Bonjour, ${name} !`,
};
