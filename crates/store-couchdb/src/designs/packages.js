function (doc) {
  if (doc.binding === undefined || doc.binding === null) {
    return;
  }
  var bound = false;
  for (var member in doc.binding) {
    bound = doc.binding;
  }
  emit([doc.namespace, doc.updated], {
    namespace: doc.namespace,
    name: doc.name,
    version: doc.version,
    publish: doc.publish,
    annotations: doc.annotations,
    updated: doc.updated,
    binding: bound
  });
}
