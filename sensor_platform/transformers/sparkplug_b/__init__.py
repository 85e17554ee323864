"""Eclipse Tahu's schema of Sparkplug B (EPL-2.0: see LICENCE), and what protoc makes of it.

`python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. sparkplug_b.proto`, with protobuf 6.33.
"""
