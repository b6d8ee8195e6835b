const fs = require('fs');
const { greet } = require('./lib/greet');

exports.main = ({ name }) => ({ greeting: greet(name), data: fs.readFileSync('data.txt', 'utf8').trim() });
