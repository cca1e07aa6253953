"""T-SQL: tokens, syntax trees and the parser of the subset that the server speaks."""
