// title: Image sets of one's own
// description: The image sets that people have made of a model's images, with the paths of their images.
// mode: read
// parameter: model = "toy" -- name of the model
// parameter: paths = true -- whether to return the paths, up to 10,000 for each
// columns: name, images, hash, paths

CYPHER 25
MATCH (s:ImageSet {model: $model})
WHERE s.own
RETURN s.name AS name, s.images AS images, s.hash AS hash, CASE WHEN $paths THEN s.paths ELSE [] END AS paths
ORDER BY name
