"""The native engine: small networks trained, attacked and measured in C++, on 16 images at a time."""
