// title: Wait for the indexes
// description: Return once every index is online; an error when they are not in time.
// mode: read
// parameter: seconds = 60 -- how long to wait at most
// columns: online

CYPHER 25
CALL db.awaitIndexes($seconds)
RETURN true AS online
