// title: Exemplars of a filter
// description: The images that a filter responds to most (ranks 0, 1, ...) and then those that it responds to least (-1, -2, ...), with the extreme pre-activation and where it is in the map.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of a filter
// columns: rank, activation, row, column, path, label, hash, image

CYPHER 25
MATCH (f:Filter {uid: $uid})
MATCH (m:Model {name: f.model})
WHERE m.exemplars IS NOT NULL
MATCH (f)-[e:EXCITED_BY]->(x:Image)
RETURN e.rank AS rank, e.activation AS activation, e.row AS row, e.column AS column, x.path AS path, x.label AS label,
  x.hash AS hash, x.uid AS image
ORDER BY rank < 0, abs(rank)
