// title: Circuit of a filter above a score
// description: All paths into a filter, up to eight layers deep, whose every kernel's active score reaches a minimum; the identities of sums are free.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of the filter
// parameter: minimum = 0.0 -- smallest score of every kernel
// parameter: limit = 200 -- number of paths
// columns: path

CYPHER 25
MATCH path = (:Filter {uid: $uid})(()<-[k:KERNEL|IDENTITY WHERE k:IDENTITY OR k.score >= $minimum]-()){1,8}()
RETURN path
LIMIT $limit
