"""muster: fine-tunes a vision-language detector. The command `muster` is the program itself."""
