// title: One Layer per key
// description: Uniqueness of Layer.key; also the index that every lookup by key uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT layer_key IF NOT EXISTS FOR (n:Layer) REQUIRE n.key IS UNIQUE
