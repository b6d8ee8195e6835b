console.log('at load');
const token = process.env.TOKEN;
const name = process.env.__OW_ACTION_NAME;

function main(args) {
  console.log('at run');
  return { token, name, arguments: args };
}
