// title: Load layers
// description: Create the layers of a model with database-wide integer keys.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: rows = [] -- one map of properties per layer; `index` starts at 0
// columns: name, key

CYPHER 25
OPTIONAL MATCH (l:Layer)
WITH coalesce(max(l.key), 0) AS base
MATCH (m:Model {name: $model})
UNWIND $rows AS row
CREATE (m)-[:HAS_LAYER]->(layer:Layer)
SET layer = row, layer.key = base + row.index + 1
RETURN layer.name AS name, layer.key AS key
ORDER BY key
