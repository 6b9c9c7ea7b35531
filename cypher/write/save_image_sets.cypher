// title: Save image sets
// description: Store the image sets of a model, replacing those of the same name.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: rows = [] -- name, images and hash of each image set
// columns: written

CYPHER 25
MATCH (m:Model {name: $model})
UNWIND $rows AS row
MERGE (s:ImageSet {uid: $model + '/images/' + row.name})
SET s.model = m.name, s.name = row.name, s.images = row.images, s.hash = row.hash
RETURN count(s) AS written
