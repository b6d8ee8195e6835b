function (doc) {
  var limits = doc._id.indexOf("/limits");
  if (limits >= 0) {
    if (doc.concurrentInvocations === 0 || doc.invocationsPerMinute === 0) {
      emit(doc._id.replace("/limits", ""), 1);
    }
  } else if (doc.subject && doc.namespaces && doc.blocked) {
    doc.namespaces.forEach(function (own) {
      emit(own.name, 1);
    });
  }
}
