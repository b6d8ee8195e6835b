const { greetings } = require('./lib/greetings');

exports.main = ({ name = 'world', language = 'en' }) => {
  const greet = greetings[language];
  if (greet === undefined) {
    return { error: `no greeting in '${language}'; there is ${Object.keys(greetings).join(', ')}` };
  }
  return { greeting: greet(name) };
};
