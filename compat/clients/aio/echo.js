const main = (p) => p;
