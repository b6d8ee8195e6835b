const { mean } = require('./mean.js');

exports.main = ({ city, unit, readings }) => ({ city, unit, mean: mean(readings) });
