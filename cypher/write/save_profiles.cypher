// title: Save the class profiles of some filters
// description: How much each of them matters to every class, the class that it matters most to, and how much more than to the others.
// mode: write
// parameter: rows = [] -- uid, profile, best class and selectivity of each filter
// columns: written

CYPHER 25
UNWIND $rows AS row
MATCH (f:Filter {uid: row.uid})
SET f.classProfile = row.profile, f.bestClass = row.best, f.classSelectivity = row.selectivity
RETURN count(f) AS written
