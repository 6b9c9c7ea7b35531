// title: Lowest model in the unrolled picture
// description: The smallest y of all layers, so that the next model is placed below.
// mode: read
// columns: y

CYPHER 25
OPTIONAL MATCH (l:Layer)
RETURN coalesce(min(l.y), 2.6) AS y
