// title: Remove kernels and scores
// description: Remove kernels, identities, scores and circuits' marks of the model's filters, in transactions of about `most`, whatever the widths of its layers. Filters stay in their layers, so that what a stopped removal leaves is known.
// mode: write
// parameter: model = "gone" -- name of the model
// parameter: most = 15000 -- relationships per transaction; one takes about 2 kB of heap
// columns: relationships

CYPHER 25
MATCH (f:Filter {model: $model})
WITH f, COUNT { (f)<-[:KERNEL|IDENTITY|SCORED|INCLUDES]-() } AS degree
WHERE degree > 0
WITH degree, collect(f) AS alike
// at most 50 filters: the list in a SCORED is longer than a KERNEL
WITH degree, alike, CASE WHEN degree >= $most THEN 1 WHEN 50 * degree <= $most THEN 50 ELSE $most / degree END AS step
UNWIND range(0, size(alike) - 1, step) AS start
UNWIND range(1, (degree + $most - 1) / $most) AS part
WITH alike[start..start + step] AS filters
CALL (filters) {
  UNWIND filters AS f
  MATCH (f)<-[r:KERNEL|IDENTITY|SCORED|INCLUDES]-()
  WITH r LIMIT $most
  DELETE r
  RETURN count(*) AS deleted
} IN TRANSACTIONS OF 1 ROW ON ERROR RETRY FOR 20 SECONDS THEN FAIL
RETURN coalesce(sum(deleted), 0) AS relationships
