// title: Save the exemplars of some filters
// description: One relationship per filter and image, from lists per filter; nothing is written (and `mine` is false) when another writing has begun since, or the model is gone.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: run = "" -- name of the writing, from `start_exemplars`
// parameter: ranks = [] -- rank of each element of the lists: 0 and on, then -1 and on
// parameter: rows = [] -- uid of each filter, and its lists images (uids), activations, rows and columns
// columns: mine, written

CYPHER 25
OPTIONAL MATCH (m:Model {name: $model, status: 'complete'})
SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
WITH coalesce(m.exemplarsRun = $run, false) AS mine
CALL (mine) {
  UNWIND CASE WHEN mine THEN $rows ELSE [] END AS row
  MATCH (f:Filter {uid: row.uid})
  UNWIND range(0, size($ranks) - 1) AS i
  MATCH (x:Image {uid: row.images[i]})
  CREATE (f)-[:EXCITED_BY {rank: $ranks[i], activation: row.activations[i], row: row.rows[i], column: row.columns[i]}]->(x)
  RETURN count(*) AS written
}
RETURN mine, written
