// title: Save the class profiles of some filters
// description: How much each of them matters to every class, the class that it matters most to, and how much more than to the others; nothing is written when another writing has begun since.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: run = "" -- name of the writing, from `start_profiles`
// parameter: rows = [] -- uid, profile, best class and selectivity of each filter
// columns: written

CYPHER 25
OPTIONAL MATCH (m:Model {name: $model})
SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
WITH coalesce(m.profilesRun = $run, false) AS mine
UNWIND CASE WHEN mine THEN $rows ELSE [] END AS row
MATCH (f:Filter {uid: row.uid})
SET f.classProfile = row.profile, f.bestClass = row.best, f.classSelectivity = row.selectivity
RETURN count(f) AS written
