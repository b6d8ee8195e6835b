function (doc) {
  if (!doc.binding || !doc.publish) {
    return;
  }
  for (var member in doc.binding) {
    return;
  }
  emit([doc.namespace, doc.updated], {
    namespace: doc.namespace,
    name: doc.name,
    version: doc.version,
    publish: doc.publish,
    annotations: doc.annotations,
    updated: doc.updated,
    binding: false
  });
}
