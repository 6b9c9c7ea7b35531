// title: Save some images that are exemplars
// description: Nothing is written (and `mine` is false) when another writing has begun since, or the model is gone.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: run = "" -- name of the writing, from `start_exemplars`
// parameter: rows = [] -- uid, path, label and hash of each image
// columns: mine, written

CYPHER 25
OPTIONAL MATCH (m:Model {name: $model, status: 'complete'})
SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
WITH m, coalesce(m.exemplarsRun = $run, false) AS mine
CALL (m, mine) {
  UNWIND CASE WHEN mine THEN $rows ELSE [] END AS row
  CREATE (x:Image {uid: row.uid, model: m.name, path: row.path, label: row.label, hash: row.hash})
  RETURN count(x) AS written
}
RETURN mine, written
