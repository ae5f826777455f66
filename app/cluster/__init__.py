"""`livesam serve --ray`: encoders, sessions and learners as processes of Ray."""
