console.log('at load');
throw new Error('not today');
