"""What a scale costs before it is run: work by formula, time by measured throughput, disk and download."""
