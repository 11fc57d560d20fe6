"""The laptop demonstration: in-memory FHIR server, supervisor, script player."""
