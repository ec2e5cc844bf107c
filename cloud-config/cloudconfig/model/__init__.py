"""What a cloud-config says, typed; the declarations are the schema and the reference page too."""
