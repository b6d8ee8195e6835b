function (doc) {
  if (doc.activationId === undefined) {
    return;
  }
  var facts = {};
  (doc.annotations || []).forEach(function (annotation) {
    facts[annotation.key] = annotation.value;
  });
  var name = doc.name;
  if (facts.binding && typeof facts.binding === "string") {
    name = facts.binding.split("/")[1] + "/" + doc.name;
  } else if (facts.path && typeof facts.path === "string") {
    var parts = facts.path.split("/");
    if (parts.length === 3) {
      name = parts[1] + "/" + doc.name;
    }
  }
  var summary = {
    namespace: doc.namespace,
    name: doc.name,
    version: doc.version,
    publish: doc.publish,
    annotations: doc.annotations,
    activationId: doc.activationId,
    start: doc.start,
    cause: doc.cause
  };
  if (doc.end !== 0) {
    summary.end = doc.end;
    summary.duration = doc.end - doc.start;
    summary.statusCode = doc.response ? doc.response.statusCode : undefined;
  }
  emit([doc.namespace + "/" + name, doc.start], summary);
}
