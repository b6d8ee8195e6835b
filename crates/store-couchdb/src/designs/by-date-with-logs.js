function (doc) {
  if (doc.activationId === undefined || !doc.logs || doc.logs.length === 0) {
    return;
  }
  // The logs of a sequence are the ids of what it ran.
  var sequence = (doc.annotations || []).some(function (annotation) {
    return annotation.key === "kind" && annotation.value === "sequence";
  });
  if (!sequence) {
    emit(doc.start, doc._id);
  }
}
