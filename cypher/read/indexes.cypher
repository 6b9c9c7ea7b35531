// title: Indexes
// description: All indexes, those of constraints included, but for the two that every database has.
// mode: read
// columns: name, type

CYPHER 25
SHOW INDEXES YIELD name, type
WHERE type <> 'LOOKUP'
RETURN name, type
ORDER BY name
