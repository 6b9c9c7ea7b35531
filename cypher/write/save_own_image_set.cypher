// title: Save an image set of one's own
// description: Nothing is written (and `written` is 0) where the model has one of this name, or is gone.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: name = "mine" -- what expressions call it
// parameter: hash = "" -- SHA-256 over the images' hashes
// parameter: paths = [] -- of its images, as the image source spells them
// columns: written

CYPHER 25
OPTIONAL MATCH (m:Model {name: $model, status: 'complete'})
SET m.name = m.name  // takes the model's lock: of two who save one name, the second finds it
WITH m
WHERE m IS NOT NULL AND NOT EXISTS { (:ImageSet {uid: $model + '/own/' + $name}) }
CREATE (s:ImageSet {uid: m.name + '/own/' + $name, model: m.name, name: $name, own: true})
SET s.images = size($paths), s.hash = $hash, s.paths = $paths
RETURN count(s) AS written
