// title: Load identities
// description: Connect the addends of a sum with its filters: one row per filter, with the list of its addends.
// mode: write
// parameter: layers = ["toy/input"] -- uids of the layers that it reads
// parameter: places = [0] -- per channel and addend the place of its filter among theirs, layer after layer
// parameter: key = 1 -- key of the sum's layer
// parameter: rows = [] -- uid, start and inputs (null: all) of each filter of the sum
// columns: written

CYPHER 25
MATCH (target:Layer {key: $key})
UNWIND range(0, size($layers) - 1) AS number
MATCH (:Layer {uid: $layers[number]})-[:HAS_FILTER]->(a:Filter)
WITH target, number, a ORDER BY number, a.channel
WITH target, collect(a) AS filters
WITH target, [place IN $places | filters[place]] AS sources
UNWIND $rows AS row
MATCH (b:Filter {uid: row.uid})
UNWIND coalesce(row.inputs, range(0, target.inputs - 1)) AS i
WITH sources[row.start + i] AS a, b, i
CREATE (a)-[:IDENTITY {input: i, layer: $key}]->(b)
RETURN count(*) AS written
