// title: Save image sets
// description: Store the image sets of a model's image source in place of those it had; own ones are kept.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: rows = [] -- name, images and hash of each image set
// columns: written

CYPHER 25
MATCH (m:Model {name: $model})
CALL (m) {
  MATCH (gone:ImageSet {model: m.name})
  WHERE NOT coalesce(gone.own, false) AND NOT gone.name IN [row IN $rows | row.name]
  DETACH DELETE gone
}
UNWIND $rows AS row
MERGE (s:ImageSet {uid: $model + '/images/' + row.name})
SET s.model = m.name, s.name = row.name, s.images = row.images, s.hash = row.hash
RETURN count(s) AS written
