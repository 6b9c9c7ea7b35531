// title: Saved queries
// description: The saved queries of a model, newest first.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, text, input, output, criterion, status, images, effectiveImages, seconds, createdAt, active

CYPHER 25
MATCH (m:Model {name: $model})
MATCH (q:Query {model: m.name})
RETURN q.uid AS uid, q.text AS text, q.input AS input, q.output AS output, q.criterion AS criterion,
  q.status AS status, q.images AS images, q.effectiveImages AS effectiveImages, q.seconds AS seconds,
  q.createdAt AS createdAt, coalesce(m.activeQuery = q.uid, false) AS active
ORDER BY createdAt DESC, uid
