exports.main = args => args;
