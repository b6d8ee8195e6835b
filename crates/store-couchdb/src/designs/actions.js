function (doc) {
  if (doc.exec === undefined || typeof doc.namespace !== "string") {
    return;
  }
  var summary = {
    namespace: doc.namespace,
    name: doc.name,
    version: doc.version,
    publish: doc.publish,
    annotations: doc.annotations,
    limits: doc.limits,
    exec: {binary: (doc.exec && doc.exec.binary) || false},
    updated: doc.updated
  };
  emit([doc.namespace, doc.updated], summary);
  var slash = doc.namespace.indexOf("/");
  if (slash >= 0) {
    emit([doc.namespace.substring(0, slash), doc.updated], summary);
  }
}
