"""External validation: a finished bundle on patients of another place, without refitting anything."""
