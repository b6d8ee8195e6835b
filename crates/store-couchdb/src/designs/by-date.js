function (doc) {
  if (doc.activationId !== undefined) {
    emit(doc.start, [doc._id, doc._rev]);
  }
}
