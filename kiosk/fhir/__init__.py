"""FHIR R4: resources, client and patient directory."""
