// title: One saved query
// description: The properties of one saved query.
// mode: read
// parameter: uid = "toy/query/one" -- uid of the query
// columns: uid, model, text, input, output, criterion, signed, parameters, status, images, imagesHash, effectiveImages, createdAt, seconds

CYPHER 25
MATCH (q:Query {uid: $uid})
RETURN q.uid AS uid, q.model AS model, q.text AS text, q.input AS input, q.output AS output,
  q.criterion AS criterion, coalesce(q.signed, false) AS signed, q.parameters AS parameters, q.status AS status, q.images AS images,
  q.imagesHash AS imagesHash, q.effectiveImages AS effectiveImages, q.createdAt AS createdAt, q.seconds AS seconds
