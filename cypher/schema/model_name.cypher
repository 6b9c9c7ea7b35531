// title: One Model per name
// description: Uniqueness of Model.name; also the index that every lookup by name uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT model_name IF NOT EXISTS FOR (n:Model) REQUIRE n.name IS UNIQUE
