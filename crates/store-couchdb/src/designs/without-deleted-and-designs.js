function (doc, request) {
  return !doc._deleted && doc._id.indexOf("_design/") !== 0;
}
