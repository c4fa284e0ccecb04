"""The visit counter of the articles as a small web application, and the demo that stops servers under it."""
