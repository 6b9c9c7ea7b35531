// title: Remove exemplars
// description: Remove the exemplars of a model and their images in steps, for the writing that began last, or whoever removes the model.
// mode: write
// parameter: model = "gone" -- name of the model
// parameter: run = "" -- name of the writing, from `start_exemplars`
// columns: images

CYPHER 25
MATCH (m:Model {name: $model})
OPTIONAL MATCH (x:Image WHERE x.uid STARTS WITH $model + '/image/')<-[old:EXCITED_BY]-()
WITH m, collect(old) AS found
UNWIND range(0, size(found), 5000) AS start  // once without any, so that the images are looked for
WITH m, found[start..start + 5000] AS part
CALL (m, part) {
  SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
  WITH m, part
  WHERE m.exemplarsRun = $run OR m.status <> 'complete'
  UNWIND part AS old
  DELETE old
} IN TRANSACTIONS OF 1 ROW ON ERROR RETRY FOR 20 SECONDS THEN FAIL
WITH DISTINCT m
OPTIONAL MATCH (x:Image WHERE x.uid STARTS WITH $model + '/image/')
WITH m, collect(x) AS found
UNWIND range(0, size(found), 5000) AS start
WITH m, found[start..start + 5000] AS part
CALL (m, part) {
  SET m.name = m.name  // the same
  WITH m, part
  WHERE m.exemplarsRun = $run OR m.status <> 'complete'
  UNWIND part AS x
  DETACH DELETE x
} IN TRANSACTIONS OF 1 ROW ON ERROR RETRY FOR 20 SECONDS THEN FAIL
RETURN coalesce(sum(size(part)), 0) AS images
