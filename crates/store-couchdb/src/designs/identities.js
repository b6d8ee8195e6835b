function (doc) {
  if (!doc.namespaces || doc.blocked) {
    return;
  }
  doc.namespaces.forEach(function (own) {
    // The _id joins the namespace's limits to the row.
    var identity = {_id: own.name + "/limits", namespace: own.name, uuid: own.uuid, key: own.key};
    emit([own.name], identity);
    emit([own.uuid, own.key], identity);
  });
}
