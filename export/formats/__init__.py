"""One module for each format in which a decoder leaves; ``livesam.export.decoder_export`` names them all."""
